// Package examples contains the code that README and docs show. Its tests
// compile and run it.
package examples
