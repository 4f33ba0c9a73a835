package examples

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/outbox"
)

// Charge are the args of the job that books an invoice as paid.
type Charge struct {
	Invoice int64     `json:"invoice"`
	NotYet  time.Time `json:"not_before,omitzero"`
}

// Kind is the name of these jobs.
func (Charge) Kind() string { return "charge" }

// Payment is the effect of a charge: exactly one for each invoice.
type Payment struct {
	Invoice int64
	Total   int64
}

// ChargeInvoice is the handler of Charge for the application's database.
func ChargeInvoice(db *gorm.DB) func(context.Context, *jobs.Run, Charge) error {
	return func(ctx context.Context, run *jobs.Run, args Charge) error {
		if wait := time.Until(args.NotYet); wait > 0 {
			return jobs.Snooze(wait) // comes back then; the attempt is not counted
		}
		return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			var invoice Invoice
			err := tx.First(&invoice, args.Invoice).Error
			if errors.Is(err, gorm.ErrRecordNotFound) {
				return jobs.Cancel(fmt.Errorf("invoice %d was withdrawn", args.Invoice)) // no retry; the reason is kept
			}
			if err != nil {
				return err // tried again with backoff
			}
			if err := tx.Create(&Payment{Invoice: invoice.ID, Total: invoice.Total}).Error; err != nil {
				return err
			}
			run.Log().Info("paid", "total", invoice.Total)      // shown on the job's page
			return warren.CompleteTx(ctx, warren.Gorm(tx), run) // payment and completion are committed together
		})
	}
}

// CreateInvoices saves many invoices and a job for each, in two statements.
func CreateInvoices(ctx context.Context, db *gorm.DB, invoices []Invoice) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&invoices).Error; err != nil {
			return err
		}
		list := make([]jobs.NewJob, len(invoices))
		for i, invoice := range invoices {
			list[i] = jobs.New(Charge{Invoice: invoice.ID}, jobs.UniqueKey(fmt.Sprint("charge ", invoice.ID)))
		}
		_, err := outbox.Enqueue(ctx, warren.Gorm(tx), list...)
		return err
	})
}
