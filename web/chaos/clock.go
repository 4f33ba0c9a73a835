//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// offClock is added to Go's package time: the offset of the process's clock, in seconds.
const offClock = `package time

import "syscall"

var clockOff = func() (n int64) {
	s, _ := syscall.Getenv("CHAOS_CLOCK_OFF")
	sign := int64(1)
	for _, c := range s {
		if c == '-' {
			sign = -1
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n * sign
}()
`

// buildOff builds this program with a clock that may be off, for all of its code and its libraries:
// Go reads the kernel's clock in a way that cannot be intercepted.
func buildOff(ctx context.Context, dir string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find Go: %w", err)
	}
	pkg := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(pkg, "time.go"))
	if err != nil {
		return "", fmt.Errorf("read Go's package time: %w", err)
	}
	const reads = "sec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), reads) != 1 {
		return "", errors.New("this Go reads the clock in another way: buildOff must learn it")
	}
	program := filepath.Join(dir, "off")
	overlay, _ := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(pkg, "time.go"): program + ".time", filepath.Join(pkg, "clock_off.go"): program + ".clock"}})
	for suffix, text := range map[string]string{
		".time": strings.Replace(string(source), reads, reads+"\tsec += clockOff\n", 1), ".clock": offClock, ".overlay": string(overlay)} {
		if err := os.WriteFile(program+suffix, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("write Go's package time anew: %w", err)
		}
	}
	out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", "chaos", "-overlay", program+".overlay", "-o", program,
		"./web/chaos").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build with another clock: %w: %s", err, out)
	}
	return program, nil
}

// clocksOff sets the clock of a worker five minutes ahead, and those of a relay
// and the scheduler five minutes back; then the worker dies.
func clocksOff(ctx context.Context, c *chaos) (err error) {
	if c.off == "" {
		if c.off, err = buildOff(ctx, c.servers.dir); err != nil {
			return err
		}
	}
	w, r := c.worker(), c.relay()
	for s, off := range map[*slot]string{w: "300", r: "-300", c.fleet.scheduler: "-300"} {
		s.program = c.off
		if err := s.restart("CHAOS_CLOCK_OFF=" + off); err != nil {
			return err
		}
	}
	name := w.processName()
	c.burst(ctx, 50)
	sleep(ctx, c.between(5*time.Second, 20*time.Second)) // sometimes longer than a lease
	done, err := c.ledger.number(ctx, `SELECT count(*) FROM effects WHERE worker = $1`, name)
	if err != nil {
		return err
	}
	c.absences = append(c.absences, absence{worker: name, from: time.Now(), until: forever})
	w.kill()
	w.program, r.program, c.fleet.scheduler.program = "", "", ""
	if err := errors.Join(w.start(), r.restart(), c.fleet.scheduler.restart()); err != nil {
		return err
	}
	if done == 0 {
		return fmt.Errorf("%s did nothing with its clock ahead", w.name)
	}
	return nil
}
