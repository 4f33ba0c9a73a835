package child

import (
	"os/user"
	"strconv"
)

// User is the user and group that a child runs as.
type User struct{ UID, GID uint32 }

// Name returns the user's name, or its number if it has none.
func (u User) Name() string { return userName(u.UID) }

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if account, err := user.LookupId(id); err == nil {
		return account.Username
	}
	return id
}

// Account is the account that a server runs as where this process is root's.
type Account struct {
	Server string   // such as PostgreSQL
	Users  []string // the first of them that this machine has
	URL    string   // the setting that does without a private server
}
