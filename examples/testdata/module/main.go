package main

import (
	"context"
	"errors"
	"net/http"
	"os"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
)

type Customer struct{ ID string }

type Welcome struct{ ID string }

func (Welcome) Kind() string { return "shop.welcome" }

func main() {
	db, err1 := gorm.Open(postgres.Open(os.Getenv("DATABASE_URL")))
	client, err2 := warren.Open(warren.Config{DatabaseURL: os.Getenv("DATABASE_URL"), BrokerURL: os.Getenv("AMQP_URL")},
		jobs.Handle(func(_ context.Context, run *jobs.Run, w Welcome) error { return run.Output("Hello " + w.ID) }))
	dashboard, err3 := client.Dashboard(warren.At("/admin/jobs"))
	if err := errors.Join(err1, err2, err3, db.AutoMigrate(&Customer{}), client.Migrate(context.Background())); err != nil {
		panic(err)
	}
	e := echo.New()
	e.POST("/customers/:id", func(c echo.Context) error {
		return db.Transaction(func(tx *gorm.DB) error {
			_, err := client.EnqueueTx(c.Request().Context(), warren.Gorm(tx), Welcome{c.Param("id")})
			return errors.Join(err, tx.Create(&Customer{c.Param("id")}).Error)
		})
	})
	signIn := middleware.BasicAuth(func(user, _ string, _ echo.Context) (bool, error) { return user == "ann", nil })
	e.Group("/admin/jobs", signIn).Any("/*", echo.WrapHandler(dashboard))
	go func() { panic(e.Start(os.Getenv("LISTEN"))) }()
	http.Handle("/admin/jobs/", dashboard)
	go func() { panic(http.ListenAndServe(os.Getenv("LISTEN_INSIDE"), nil)) }()
	panic(client.Run(context.Background()))
}
