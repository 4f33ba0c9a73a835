package rabbit

// acked is the set of acknowledged delivery tags of a channel: all tags below low, and those whose
// bit is set, from base on. While a job runs for minutes, millions of later tags may be added.
type acked struct {
	low  uint64 // the first tag not in the set
	base uint64 // the tag of the first bit, a multiple of 64; at most low
	bits []uint64
}

// add adds a tag and moves low past all tags that follow without a gap.
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

// has reports whether the tag, which must be at least low, is in the set.
func (s *acked) has(tag uint64) bool {
	word := (tag - s.base) / 64
	return word < uint64(len(s.bits)) && s.bits[word]&(1<<(tag%64)) != 0
}
