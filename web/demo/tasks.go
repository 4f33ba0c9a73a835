package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store"
)

// plannedTask is a task that a person of the shop wants done. Due is from now; 0 is never.
type plannedTask struct {
	description string
	priority    tasks.Priority
	due         time.Duration
	done        bool
}

const day = 24 * time.Hour

var plannedTasks = []plannedTask{
	{"Order boxes for the Christmas season", tasks.PriorityMedium, 9 * day, false},
	{"Thank the harbour team for the night shift", tasks.PriorityNone, 0, true},
	{"Decide on the new parcel service, and tell the two that lost", tasks.PriorityMedium, 4 * day, false},
	{"Write down how returns from Switzerland are taxed", tasks.PriorityLow, 21 * day, false},
	{"Answer the complaint of cus_4711 about the broken vase", tasks.PriorityHigh, -5 * time.Hour, false},
	{"Renew the certificate for shop.example.com", tasks.PriorityHigh, 2 * day, false},
	{"Remove the summer sale banner", tasks.PriorityLow, -30 * day, true},
	{"Ask the bank why cards from Chile are declined", tasks.PriorityHigh, 20 * time.Hour, false},
	{"Clean up pictures that no product uses", tasks.PriorityNone, 0, false},
	{"Invite the team to the stocktaking dinner", tasks.PriorityNone, 12 * day, false},
	{"Call Gita about the wholesale prices of next year", tasks.PriorityMedium, -2 * day, false},
	{"Try the checkout with a screen reader", tasks.PriorityLow, 0, false},
}

// writeTasks fills the list of tasks, unless an earlier demo did. Three of them own jobs.
func (d *demo) writeTasks(ctx context.Context) error {
	if there, err := d.Store.DemoTasks(ctx); err != nil || len(there) > 0 {
		return err
	}
	now := time.Now()
	tonight, trial := now.Add(40*time.Minute), invoice()
	list := []tasks.Input{
		{Description: "Create the monthly sales report", Priority: tasks.PriorityLow,
			Job: taskJob(Report{Report: "sales", Month: month()}, QueueReports, tasks.RunsSchedule, "30 6 1 * *", "Europe/Berlin")},
		{Description: "Compare the north warehouse with the shop", Priority: tasks.PriorityMedium,
			Job: taskJob(SyncStock{Warehouse: "north", Items: 120}, QueueStock, tasks.RunsSchedule, "every 1m", "")},
		{Description: "Charge " + trial.Invoice + " when the trial of " + trial.Customer + " ends", Priority: tasks.PriorityHigh,
			StartAt: &tonight,
			Job:     taskJob(trial, QueueBilling, tasks.RunsAtStart, "", "")},
	}
	for _, t := range plannedTasks {
		in := tasks.Input{Description: t.description, Priority: t.priority, Done: t.done}
		if t.due != 0 {
			due := now.Add(t.due).Truncate(time.Minute)
			in.DueAt = &due
		}
		list = append(list, in)
	}
	for _, in := range list {
		if err := in.Prepare(); err != nil {
			return fmt.Errorf("write the tasks of the demo: %w", err)
		}
		if _, err := d.Store.CreateTask(ctx, in, store.DemoOrigin, actor); err != nil {
			return err
		}
	}
	d.log("%d tasks: three own a job, one on a schedule of every minute", len(list))
	return nil
}

var actor = jobs.Actor{Name: "demo", Reason: "warren demo"}

func taskJob(args jobs.Args, queue string, runs tasks.Runs, rule, zone string) *tasks.Job {
	raw, _ := json.Marshal(args) // strings and numbers
	return &tasks.Job{Kind: args.Kind(), Args: raw, Queue: queue, Runs: runs, Rule: rule, Zone: zone}
}

// tidyUp changes a task, as a person would, and now and then does one.
func (d *demo) tidyUp(ctx context.Context) error {
	ids, err := d.Store.DemoTasks(ctx)
	if err != nil || len(ids) == 0 {
		return err
	}
	task, err := d.Store.Task(ctx, pick(ids...))
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		return nil
	case err != nil:
		return err
	case task.Job != nil: // its schedule is to go on
		_, err = d.Store.RunTask(ctx, task.ID, actor)
	case task.Done:
		_, err = d.Store.SetTaskDone(ctx, task.ID, false, actor)
	default:
		err = d.changeTask(ctx, task.ID)
	}
	return err
}

func (d *demo) changeTask(ctx context.Context, id uuid.UUID) (err error) {
	if pick(true, false, false) {
		_, err = d.Store.SetTaskDone(ctx, id, true, actor)
		return err
	}
	_, err = d.Store.SetTaskPriority(ctx, id, pick(tasks.Priorities...), actor)
	return err
}
