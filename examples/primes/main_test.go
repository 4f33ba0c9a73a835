package main

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// A kind consists of args and a handler; the registry checks jobs against it.
func Example() {
	registry, err := jobs.NewRegistry(jobs.Handle(primes))
	if err != nil {
		fmt.Println(err)
	}

	fmt.Println(registry.Check("primes", json.RawMessage(`{"below": 100}`)))
	fmt.Println(registry.Check("primes", json.RawMessage(`{"below": 1}`)) != nil)
	fmt.Println(primes(context.Background(), &jobs.Run{}, Primes{Below: 100}))
	// Output:
	// <nil>
	// true
	// <nil>
}

func TestPrimes_AKindStopsWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, primes(ctx, &jobs.Run{}, Primes{Below: 10}), context.Canceled)
}
