package handlers

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits of attempts with a wrong password.
const (
	triesAtOnce = 5 // per source: an address, or a browser that has been signed in before
	tryEvery    = 10 * time.Second
	allAtOnce   = 50 // of all sources together
	allEvery    = 2 * time.Second
	auditBurst  = 20 // refusals in the audit log
	auditEvery  = time.Minute
	provenFor   = time.Hour // a source that gave the right password is not blocked by the attempts of others
	visitorsMax = 10_000
	forgetEvery = time.Minute
	overflowKey = "" // shared by the sources that are not tracked on their own
)

// throttle counts wrong passwords. The zero throttle is ready to use and safe for concurrent use.
type throttle struct {
	mu       sync.Mutex
	all      *rate.Limiter
	audits   *rate.Limiter
	visitors map[string]*visitor
	forgot   time.Time
}

type visitor struct {
	tries *rate.Limiter
	right time.Time // when it last gave the right password
}

// try counts an attempt with a right or wrong password. With wait > 0 the attempt must be refused,
// right or wrong, and the client must wait that long. tell reports whether to record the refusal in
// the audit log: the first of a source in a while, and not too many in all.
func (t *throttle) try(source string, right bool, now time.Time) (wait time.Duration, tell bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.visitor(source, now)
	if wait = untilNext(v.tries, now); wait > 0 {
		return wait, false
	}
	if wait = untilNext(t.all, now); wait > 0 && now.Sub(v.right) > provenFor {
		return wait, false
	}
	if right {
		v.right = now
		return 0, false
	}
	first := rested(v.tries, now)
	v.tries.AllowN(now, 1)
	t.all.AllowN(now, 1)
	return 0, first && t.audits.AllowN(now, 1)
}

func (t *throttle) visitor(name string, now time.Time) *visitor {
	if t.visitors == nil {
		t.visitors = map[string]*visitor{}
		t.all = rate.NewLimiter(rate.Every(allEvery), allAtOnce)
		t.audits = rate.NewLimiter(rate.Every(auditEvery), auditBurst)
	}
	t.forget(now)
	if t.visitors[name] == nil && len(t.visitors) >= visitorsMax {
		name = overflowKey
	}
	if t.visitors[name] == nil {
		t.visitors[name] = &visitor{tries: rate.NewLimiter(rate.Every(tryEvery), triesAtOnce)}
	}
	return t.visitors[name]
}

// forget drops the sources that have no recent attempts.
func (t *throttle) forget(now time.Time) {
	if now.Sub(t.forgot) < forgetEvery {
		return
	}
	t.forgot = now
	for name, v := range t.visitors {
		if rested(v.tries, now) && now.Sub(v.right) > provenFor {
			delete(t.visitors, name)
		}
	}
}

func rested(l *rate.Limiter, now time.Time) bool { return l.TokensAt(now) >= float64(l.Burst()) }

// untilNext returns the time until l allows one more attempt; 0 if it does so now.
func untilNext(l *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - l.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return max(time.Duration(missing/float64(l.Limit())*float64(time.Second)), time.Millisecond)
}

// place returns the source that an address is counted as: an IPv6 /64 belongs to one customer and
// counts as one address.
func place(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return overflowKey
	}
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		prefix, _ := addr.Prefix(64)
		return prefix.String()
	}
	return addr.String()
}
