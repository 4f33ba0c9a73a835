// Command primes is the complete warren program with an additional kind: run it like warren.
package main

import (
	"context"
	"fmt"
	"math/big"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/web"
)

// Primes asks for the number of primes below a limit.
type Primes struct {
	Below int64 `json:"below" jsonschema:"title=Below,minimum=2,maximum=10000000,example=100000"`
}

// Kind is the name of these jobs in messages, in the API and on the dashboard.
func (Primes) Kind() string { return "primes" }

func primes(ctx context.Context, run *jobs.Run, args Primes) error {
	found := 0
	for n := int64(2); n < args.Below; n++ {
		if ctx.Err() != nil { // cancelled, timed out, or the worker stops
			return context.Cause(ctx)
		}
		if big.NewInt(n).ProbablyPrime(0) {
			found++
		}
		run.Progress(float64(n)/float64(args.Below), fmt.Sprintf("%d found", found))
	}
	return run.Output(map[string]int{"primes": found})
}

func main() { web.Main(jobs.Handle(primes, jobs.Timeout(time.Minute))) }
