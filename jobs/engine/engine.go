// Package engine moves jobs along their path: the relay takes them from the outbox to the
// broker, workers claim and run them, the scheduler, reconciler and janitor keep them going
// and clean up behind them. It knows no database and no broker: what it needs of them it
// names as small interfaces, which packages store and rabbit implement.
//
// Applications do not import it; warren.Client puts its parts together.
package engine
