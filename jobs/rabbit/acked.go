package rabbit

// settled knows which deliveries of a channel are settled: all below low, and
// those of the bits from base on. Behind a run of minutes there may be millions.
type acked struct {
	low  uint64 // the first that is not
	base uint64 // of the first bit, a multiple of 64; at most low
	bits []uint64
}

// add settles a delivery and moves low past all that follow without a gap.
func (s *acked) add(tag uint64) {
	if tag < s.low {
		return
	}
	word := (tag - s.base) / 64
	for uint64(len(s.bits)) <= word {
		s.bits = append(s.bits, 0)
	}
	s.bits[word] |= 1 << (tag % 64)
	for s.has(s.low) {
		s.low++
	}
	done := (s.low - s.base) / 64
	s.bits = s.bits[done:]
	s.base += done * 64
}

// has asks for low or one after it.
func (s *acked) has(tag uint64) bool {
	word := (tag - s.base) / 64
	return word < uint64(len(s.bits)) && s.bits[word]&(1<<(tag%64)) != 0
}
