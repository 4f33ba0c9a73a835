package examples

import (
	"context"
	"fmt"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/schedule"
)

// Schedules declares the schedules of the application, at each start.
func Schedules(ctx context.Context, client *warren.Client) error {
	err := client.Schedule(ctx,
		schedule.Input{Name: "nightly", Rule: "30 2 * * *", Zone: "Europe/Berlin",
			Job: schedule.NewJob(Charge{Invoice: 7}, jobs.OnQueue("books"))},
		schedule.Input{Name: "metronome", Rule: "every 1s", CatchUp: schedule.CatchUpAll,
			Event: schedule.NewEvent(events.JSON("amq.topic", "ping", 7))})
	if err != nil {
		return fmt.Errorf("declare the schedules: %w", err)
	}
	return nil
}
