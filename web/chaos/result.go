//go:build unix

package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// balance is the state of the ledger in the end.
type balance struct {
	attempted, acknowledged              int
	lost, ghost, duplicated, stuck, dead int
	overlaps                             []string // each pair of runs of one job at the same time
}

func (b balance) plus(more balance) balance {
	b.attempted += more.attempted
	b.acknowledged += more.acknowledged
	b.lost += more.lost
	b.ghost += more.ghost
	b.duplicated += more.duplicated
	b.stuck += more.stuck
	b.dead += more.dead
	b.overlaps = append(b.overlaps, more.overlaps...)
	return b
}

func (b balance) holds() bool {
	return b.attempted > 0 && b.lost+b.ghost+b.duplicated+b.stuck+b.dead+len(b.overlaps) == 0
}

func (b balance) String() string {
	return fmt.Sprintf("attempted=%d acknowledged=%d lost=%d ghost=%d duplicated=%d stuck=%d dead=%d overlapping=%d",
		b.attempted, b.acknowledged, b.lost, b.ghost, b.duplicated, b.stuck, b.dead, len(b.overlaps))
}

// result is the outcome of the program.
type result struct {
	books  balance
	killed []float64 // seconds until each job of a killed worker was started again
	frozen []float64 // and of a frozen one
	tally  map[string]*count
	order  []string
	failed []string
}

// count is the outcome of a storm.
type count struct {
	runs, failed, crashed int
	took, balanced        time.Duration
}

func (r *result) of(storm string) *count {
	t := r.tally[storm]
	if t == nil {
		t = &count{}
		r.tally[storm] = t
		r.order = append(r.order, storm)
	}
	return t
}

// report prints a line per storm and, last, the balance. The error names what is wrong with it.
func (r *result) report() error {
	slices.Sort(r.order)
	for _, name := range r.order {
		t := r.tally[name]
		fmt.Printf("storm=%s runs=%d failed=%d took=%.1f settled_max=%.1f crashed_attempts=%d\n", name, t.runs, t.failed, t.took.Seconds(),
			t.balanced.Seconds(), t.crashed)
	}
	for _, f := range r.failed {
		fmt.Fprintln(os.Stderr, "chaos:", f)
	}
	for _, pair := range r.books.overlaps {
		fmt.Fprintln(os.Stderr, "chaos: overlapping:", pair)
	}
	fmt.Printf("recovered=%d frozen=%d frozen_p99=%.2f\n", len(r.killed), len(r.frozen), p99(r.frozen))
	fmt.Printf("%s recovered_p99=%.2f\n", r.books, p99(r.killed))
	switch {
	case !r.books.holds():
		return errors.New("the books do not balance")
	case len(r.failed) > 0:
		return fmt.Errorf("%d storms were not weathered", len(r.failed))
	}
	return nil
}

// p99 returns the 99th percentile by the nearest rank; 0 of an empty list.
func p99(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[int(math.Ceil(0.99*float64(len(list))))-1]
}
