package examples

import (
	"context"

	"gorm.io/gorm"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/kinds"
	"github.com/warrenjobs/warren/store/outbox"
)

// Invoice stands for the application's own data.
type Invoice struct {
	ID    int64
	Total int64
}

// CreateInvoice saves an invoice and a job about it: both, or neither.
func CreateInvoice(ctx context.Context, db *gorm.DB, invoice *Invoice) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(invoice).Error; err != nil {
			return err
		}
		_, err := outbox.Enqueue(ctx, warren.Gorm(tx), jobs.New(kinds.Dots{Text: "Invoice..."}, jobs.MaxAttempts(3)))
		return err
	})
}
