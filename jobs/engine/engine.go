// Package engine moves jobs along their path: the relay takes them from the outbox to the broker,
// workers claim and run them, and the scheduler, reconciler and janitor keep them going and clean
// up behind them. It knows no database and no broker: it declares what it needs from them as small
// interfaces, which packages store and rabbit implement.
//
// Applications do not import it; warren.Client puts its parts together.
package engine
