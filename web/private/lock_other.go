//go:build !unix

package private

import (
	"errors"
	"os"
)

var errNoLock = errors.New("private servers need Linux or macOS: set DATABASE_URL and AMQP_URL")

func tryLock(string) (*os.File, error) { return nil, errNoLock }

func isOwned(string) (bool, error) { return false, errNoLock }
