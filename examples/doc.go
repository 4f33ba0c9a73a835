// Package examples holds the code that README and docs show, compiled and run
// by its tests.
package examples
