// Command customers is a small application that uses Warren: it saves a customer
// and the job that welcomes them in one transaction, works such jobs, and has the
// dashboard below /admin/jobs, behind its own sign-in.
//
// Usage: customers [ROLE…]. Without roles it is app, relay and worker in one
// process; "customers web", "customers relay scheduler" and "customers worker" split it.
package main

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
)

// Customer is the application's own data.
type Customer struct {
	ID    int64  `json:"id"`
	Email string `json:"email" gorm:"uniqueIndex;not null"`
	Name  string `json:"name" gorm:"not null"`
}

// Mail is a welcome that was sent. A mail server outside of the database would be called with the
// job's id as its key of idempotency; this example has its letter box in the database.
type Mail struct {
	ID         int64
	CustomerID int64  `gorm:"not null"`
	To         string `gorm:"not null"`
	SentAt     time.Time
}

// CustomerCreated are the args of the job that welcomes a customer.
type CustomerCreated struct {
	ID int64 `json:"id" jsonschema:"title=Customer,minimum=1"`
}

// Kind is the name of these jobs.
func (CustomerCreated) Kind() string { return "customers.created" }

// welcome sends a customer one mail, exactly once: the mail and the completion of
// the job are one transaction.
func welcome(db *gorm.DB) func(context.Context, *jobs.Run, CustomerCreated) error {
	return func(ctx context.Context, run *jobs.Run, args CustomerCreated) error {
		return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			var c Customer
			err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).First(&c, args.ID).Error
			if errors.Is(err, gorm.ErrRecordNotFound) {
				return jobs.Cancel(fmt.Errorf("customer %d has been deleted", args.ID))
			}
			if err != nil {
				return err
			}
			run.Log().Info("welcome", "name", c.Name)
			if err := tx.Create(&Mail{CustomerID: c.ID, To: c.Email, SentAt: time.Now()}).Error; err != nil {
				return err
			}
			return warren.CompleteTx(ctx, warren.Gorm(tx), run)
		})
	}
}

type app struct {
	db   *gorm.DB
	jobs *warren.Client
}

// create saves a customer and the job about them: both, or neither.
func (a app) create(c echo.Context) error {
	var in Customer
	if err := c.Bind(&in); err != nil {
		return err
	}
	in = Customer{Email: strings.TrimSpace(in.Email), Name: strings.TrimSpace(in.Name)}
	if in.Name == "" || !strings.Contains(in.Email, "@") {
		return echo.NewHTTPError(http.StatusUnprocessableEntity, "A customer has an email address and a name.")
	}
	ctx := c.Request().Context()
	err := a.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&in).Error; err != nil {
			return err
		}
		_, err := a.jobs.EnqueueTx(ctx, warren.Gorm(tx), CustomerCreated{in.ID})
		return err
	})
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return echo.NewHTTPError(http.StatusConflict, "There is a customer with this email address.")
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, in)
}

// signIn stands for the application's own sign-in: admin, with ADMIN_PASSWORD.
func signIn(user, password string, _ echo.Context) (bool, error) {
	want := cmp.Or(os.Getenv("ADMIN_PASSWORD"), "admin")
	return user == "admin" && subtle.ConstantTimeCompare([]byte(password), []byte(want)) == 1, nil
}

// whoIs says to the dashboard who is signed in.
func whoIs(r *http.Request) (warren.User, error) {
	name, _, _ := r.BasicAuth()
	return warren.User{Name: name, Can: warren.Rights()}, nil
}

func (a app) routes() (http.Handler, error) {
	dashboard, err := a.jobs.Dashboard(warren.At("/admin/jobs"), warren.Identify(whoIs))
	if err != nil {
		return nil, err
	}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.POST("/customers", a.create)
	admin := e.Group("/admin/jobs", middleware.BasicAuth(signIn))
	admin.Any("", echo.WrapHandler(dashboard))
	admin.Any("/*", echo.WrapHandler(dashboard))
	return e, nil
}

func open(roles []warren.Role) (app, error) {
	database := cmp.Or(os.Getenv("DATABASE_URL"), "postgres://localhost/customers")
	db, err := gorm.Open(postgres.Open(database), &gorm.Config{TranslateError: true})
	if err != nil {
		return app{}, err
	}
	client, err := warren.Open(warren.Config{DatabaseURL: database, Roles: roles,
		BrokerURL: cmp.Or(os.Getenv("AMQP_URL"), "amqp://localhost"), ManagementURL: os.Getenv("RABBITMQ_MANAGEMENT_URL")},
		jobs.Handle(welcome(db), jobs.MaxAttempts(10)))
	return app{db, client}, err
}

func run(ctx context.Context, roles []warren.Role) error {
	a, err := open(roles)
	if err != nil {
		return err
	}
	defer a.jobs.Close()
	if err := errors.Join(a.db.AutoMigrate(&Customer{}, &Mail{}), a.jobs.Migrate(ctx)); err != nil {
		return err
	}
	if len(roles) > 0 && !slices.Contains(roles, warren.RoleWeb) {
		return a.jobs.Run(ctx)
	}
	handler, err := a.routes()
	if err != nil {
		return err
	}
	address := cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:3000")
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	server.RegisterOnShutdown(a.jobs.EndStreams)
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	log.Printf("customers on http://%s, its jobs on http://%[1]s/admin/jobs/", address)
	err = a.jobs.Run(ctx)
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(err, server.Shutdown(end))
}

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var roles []warren.Role
	for _, role := range os.Args[1:] {
		roles = append(roles, warren.Role(role))
	}
	if err := run(ctx, roles); err != nil {
		log.Fatal(err)
	}
}
