package rabbit

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAcked_TheFirstDeliveryThatIsNotSettledIsKnownInWhateverOrderTheyEnd(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		s, all := acked{low: 1}, map[uint64]bool{}
		order := random.Perm(1 + random.IntN(2000))
		for i := range order { // mostly in order, as handlers end
			j := min(len(order)-1, i+random.IntN(1+int(seed)*8))
			order[i], order[j] = order[j], order[i]
		}
		for _, n := range order {
			tag := uint64(n + 1)
			s.add(tag)
			all[tag] = true
			low := uint64(1)
			for all[low] {
				low++
			}
			require.Equal(t, low, s.low, "seed %d", seed)
		}
		require.LessOrEqual(t, len(s.bits), 1)
	}
}
