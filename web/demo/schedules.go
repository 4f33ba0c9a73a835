package demo

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/store"
)

// writeSchedules adds schedules, unless an earlier demo did: one of jobs, one of events, and one that somebody has paused.
func (d *demo) writeSchedules(ctx context.Context) error {
	if there, err := d.Store.DemoSchedules(ctx); err != nil || len(there) > 0 {
		return err
	}
	list := []schedule.Input{
		{Name: "demo: sync the harbour stock", Rule: "every 20s",
			Job: schedule.NewJob(SyncStock{Warehouse: "harbour", Items: 40}, jobs.OnQueue(QueueStock), jobs.Tags("demo"))},
		{Name: "demo: shop heartbeat", Rule: "every 15s", CatchUp: schedule.CatchUpAll,
			Event: &schedule.Event{Exchange: "amq.topic", Key: "shop.heartbeat", Body: json.RawMessage(`{"shop":"harbour"}`)}},
		{Name: "demo: weekly sales report", Rule: "30 6 * * 1", Zone: "Europe/Berlin",
			Job: schedule.NewJob(Report{Report: "sales", Month: month()}, jobs.OnQueue(QueueReports), jobs.Tags("demo"))},
	}
	for i, in := range list {
		if err := in.Prepare(); err != nil {
			return fmt.Errorf("write the schedules of the demo: %w", err)
		}
		made, err := d.Store.CreateSchedule(ctx, in, store.DemoOrigin, actor)
		if err != nil {
			return err
		}
		if i == len(list)-1 {
			by := jobs.Actor{Name: "demo", Reason: "The report moves to the new warehouse"}
			if _, err := d.Store.PauseSchedule(ctx, made.ID, by); err != nil {
				return err
			}
		}
	}
	d.log("%d schedules: one of jobs, one of events, and one that is paused", len(list))
	return nil
}
