package handlers

import (
	"context"

	"github.com/warrenjobs/warren/jobs/messages"
)

// noBroker is a broker that has no exchanges.
type noBroker struct{}

func (noBroker) Exchanges(context.Context) ([]messages.Exchange, error) { return nil, nil }
func (noBroker) Tail(context.Context, messages.Source) (messages.Tail, error) {
	return nil, badField("exchange", "does not exist")
}
func (noBroker) Publish(context.Context, messages.Message) (messages.Answer, error) {
	return messages.Answer{}, badField("exchange", "does not exist")
}
func (noBroker) Own(string, string) string { return "" }
