// Package main measures Warren beside its peers and its limits.
package main

import (
	_ "github.com/ThreeDotsLabs/watermill"
	_ "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	_ "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	_ "github.com/riverqueue/river"
	_ "github.com/riverqueue/river/riverdriver/riverpgxv5"

	_ "github.com/warrenjobs/warren/store"
	_ "github.com/warrenjobs/warren/jobs/rabbit"
	_ "github.com/warrenjobs/warren/jobs/rabbit/local"
	_ "github.com/warrenjobs/warren/store/local"
)

func main() {}
