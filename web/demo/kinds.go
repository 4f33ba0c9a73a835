package demo

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// Queues of the demo. Every job of `warren demo` is in one of them.
const (
	QueueBilling = "demo-billing"
	QueueMedia   = "demo-media"
	QueueMail    = "demo-mail"
	QueueStock   = "demo-stock"
	QueueReports = "demo-reports"
	QueueArchive = "demo-archive" // no worker consumes it
)

// Queues lists every queue of the demo.
var Queues = []string{QueueBilling, QueueMedia, QueueMail, QueueStock, QueueReports, QueueArchive}

// Poison is the report that kills every worker which makes it.
const Poison = "ledger-export"

// Kinds lists the kinds of `warren demo`: work that looks like a shop's, with the
// failures that such work has. Only the demo's own workers know them.
func Kinds() []*jobs.Kind {
	return []*jobs.Kind{
		jobs.Handle(charge),
		jobs.Handle(shrink),
		jobs.Handle(send),
		jobs.Handle(syncStock),
		jobs.Handle(writeReport),
	}
}

// Invoice charges a customer.
type Invoice struct {
	Invoice  string `json:"invoice"`
	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
	Currency string `json:"currency"`
}

// Kind is "demo.invoice".
func (Invoice) Kind() string { return "demo.invoice" }

func charge(ctx context.Context, run *jobs.Run, args Invoice) error {
	if err := pause(ctx, between(run, 300, 2500)); err != nil {
		return err
	}
	switch {
	case often(run.ID, "declined", 5):
		return fmt.Errorf("card declined for customer %s: insufficient funds (invoice %s)", args.Customer, args.Invoice)
	case often(run.ID, fmt.Sprint("away", run.Attempt), 15), often(run.ID, "away", 2):
		return fmt.Errorf("POST https://payments.example/v1/charges: upstream answered 503 Service Unavailable (request %s)", uuid.New())
	}
	return run.Output(map[string]any{"charge": "ch_" + uuid.NewString()[:8], "cents": args.Cents, "currency": args.Currency})
}

// Thumbnail makes a picture small.
type Thumbnail struct {
	Image string `json:"image"`
	Width int    `json:"width"`
}

// Kind is "demo.thumbnail".
func (Thumbnail) Kind() string { return "demo.thumbnail" }

func shrink(ctx context.Context, run *jobs.Run, args Thumbnail) error {
	if err := pause(ctx, between(run, 300, 2000)); err != nil {
		return err
	}
	switch {
	case often(run.ID, "broken", 3):
		return fmt.Errorf("decode %s: invalid JPEG format: bad RST marker", args.Image)
	case often(run.ID, "panics", 2):
		return run.Output(pixel(make([]byte, args.Width), args.Width))
	}
	return run.Output(map[string]any{"file": fmt.Sprintf("%s.%d.webp", args.Image, args.Width), "bytes": args.Width * 37})
}

// pixel fails on an index one beyond the row, as real code does now and then.
func pixel(row []byte, x int) byte { return row[x] }

// Newsletter sends one mail of many.
type Newsletter struct {
	Issue string `json:"issue"`
	To    string `json:"to"`
}

// Kind is "demo.newsletter".
func (Newsletter) Kind() string { return "demo.newsletter" }

func send(ctx context.Context, run *jobs.Run, args Newsletter) error {
	if err := pause(ctx, between(run, 80, 500)); err != nil {
		return err
	}
	switch {
	case often(run.ID, "bounced", 3):
		return fmt.Errorf("SMTP code 550: %s: mailbox unavailable", args.To)
	case often(run.ID, fmt.Sprint("slow", run.Attempt), 3):
		return errors.New("dial tcp 203.0.113.25:587: i/o timeout")
	}
	return nil
}

// SyncStock compares a warehouse with the shop, item by item.
type SyncStock struct {
	Warehouse string `json:"warehouse"`
	Items     int    `json:"items"`
}

// Kind is "demo.sync-stock".
func (SyncStock) Kind() string { return "demo.sync-stock" }

func syncStock(ctx context.Context, run *jobs.Run, args SyncStock) error {
	const step = 20
	for done := 0; done < args.Items; done += step {
		run.Progress(float64(done)/float64(args.Items), fmt.Sprintf("%d of %d items", done, args.Items))
		if err := pause(ctx, between(run, 300, 900)); err != nil {
			return fmt.Errorf("read items of warehouse %q: %w", args.Warehouse, err)
		}
	}
	run.Progress(1, fmt.Sprintf("%d items", args.Items))
	return run.Output(map[string]int{"items": args.Items, "changed": args.Items / 17})
}

// Report makes a document, page by page.
type Report struct {
	Report string `json:"report"`
	Month  string `json:"month"`
}

// Kind is "demo.report".
func (Report) Kind() string { return "demo.report" }

func writeReport(ctx context.Context, run *jobs.Run, args Report) error {
	const pages = 12
	for page := range pages {
		run.Progress(float64(page)/pages, fmt.Sprintf("page %d of %d", page+1, pages))
		if err := pause(ctx, between(run, 300, 1200)); err != nil {
			return err
		}
		if args.Report == Poison && page == 3 {
			die()
		}
	}
	run.Progress(1, "done")
	return run.Output(map[string]any{"file": fmt.Sprintf("reports/%s-%s.pdf", args.Report, args.Month), "pages": pages})
}

// die ends this process as the kernel does when a process takes too much memory.
func die() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
}

// often reports true for about percent of all jobs, and always the same for one job.
func often(id uuid.UUID, what string, percent uint32) bool {
	h := fnv.New32a()
	_, _ = h.Write(id[:])
	_, _ = h.Write([]byte(what))
	return h.Sum32()%100 < percent
}

// between returns a time that differs from job to job.
func between(run *jobs.Run, least, most int) time.Duration {
	return time.Duration(least+int(run.ID[15])*(most-least)/255) * time.Millisecond
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
