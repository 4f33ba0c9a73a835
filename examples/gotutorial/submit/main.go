// Command submit sends a job to Warren as the RabbitMQ tutorials send a message: with amqp091-go
// alone, no line of Warren. Usage: submit QUEUE KIND [JSON]
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func failOnError(err error, msg string) {
	if err != nil {
		log.Fatalf("%s: %s", msg, err)
	}
}

func main() {
	if len(os.Args) < 3 {
		log.Fatal("Usage: submit QUEUE KIND [JSON]")
	}
	queue, kind, args := os.Args[1], os.Args[2], "{}"
	if len(os.Args) > 3 {
		args = os.Args[3]
	}
	conn, err := amqp.Dial(os.Getenv("AMQP_URL"))
	failOnError(err, "Failed to connect to RabbitMQ")
	defer conn.Close()
	ch, err := conn.Channel()
	failOnError(err, "Failed to open a channel")
	failOnError(ch.Confirm(false), "Failed to ask for confirms")
	returned := ch.NotifyReturn(make(chan amqp.Return, 1))

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, "warren.jobs", queue, true, false, amqp.Publishing{
		Type: kind, MessageId: time.Now().Format(time.RFC3339Nano), AppId: "tutorial", DeliveryMode: amqp.Persistent,
		ContentType: "application/json", Body: []byte(args),
	})
	failOnError(err, "Failed to publish")
	acked, err := confirm.WaitContext(ctx)
	failOnError(err, "Failed to get the confirm")
	if len(returned) > 0 { // the return of a message comes before its confirm
		failOnError(errors.New((<-returned).ReplyText), "No queue takes jobs for "+queue)
	}
	log.Printf("Sent a job to %s, confirmed: %t", queue, acked)
}
