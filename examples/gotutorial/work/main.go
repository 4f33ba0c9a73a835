// Command work works a queue of Warren's jobs as the RabbitMQ tutorials work a task queue: with
// amqp091-go alone, no line of Warren. Usage: work QUEUE
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

func failOnError(err error, msg string) {
	if err != nil {
		log.Fatalf("%s: %s", msg, err)
	}
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("Usage: work QUEUE")
	}
	conn, err := amqp.Dial(os.Getenv("AMQP_URL"))
	failOnError(err, "Failed to connect to RabbitMQ")
	defer conn.Close()
	ch, err := conn.Channel()
	failOnError(err, "Failed to open a channel")
	failOnError(ch.Confirm(false), "Failed to ask for confirms")
	failOnError(ch.Qos(1, 0, false), "Failed to set the prefetch")
	q, err := ch.QueueDeclare("warren.jobs."+os.Args[1], true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	failOnError(err, "Failed to declare the queue")
	failOnError(ch.QueueBind(q.Name, os.Args[1], "warren.jobs", false, nil), "Failed to bind the queue")
	jobs, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	failOnError(err, "Failed to consume")
	log.Printf("Waiting for jobs")
	for job := range jobs {
		report(ch, job, "started", nil)
		var args struct{ Text string }
		if err := json.Unmarshal(job.Body, &args); err != nil {
			report(ch, job, "failed", map[string]any{"error": err.Error(), "permanent": true})
		} else {
			report(ch, job, "completed", map[string]any{"output": strings.ToUpper(args.Text)})
		}
		failOnError(job.Ack(false), "Failed to acknowledge") // after the confirm of the report
	}
}

// report tells Warren about the job and waits for the confirm.
func report(ch *amqp.Channel, job amqp.Delivery, kind string, fields map[string]any) {
	body, err := json.Marshal(fields)
	failOnError(err, "Failed to write the report")
	confirm, err := ch.PublishWithDeferredConfirmWithContext(context.Background(), "", job.ReplyTo, false, false, amqp.Publishing{
		Type: kind, CorrelationId: job.CorrelationId, DeliveryMode: amqp.Persistent, ContentType: "application/json", Body: body,
	})
	failOnError(err, "Failed to report")
	if !confirm.Wait() {
		log.Fatalf("The broker refused the report about %s", job.CorrelationId)
	}
}
