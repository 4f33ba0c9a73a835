// Command warren runs background jobs on RabbitMQ and PostgreSQL, with a live
// admin dashboard. Without configuration it brings its own private servers.
package main

import "github.com/warrenjobs/warren/web"

func main() { web.Main() }
