package handlers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// login is one sign-in with the password, as its cookie carries it.
type login struct {
	id     uuid.UUID
	series uuid.UUID // of the deployment, at that time: a new series ends all logins
	until  time.Time
}

// Purposes of the signed cookies: no cookie is taken for another.
const (
	loginPurpose = "login"
	knownPurpose = "known" // this browser has been signed in before
)

// loginToken returns the cookie value of a login.
func (a *Access) loginToken(l login) string {
	return a.seal(loginPurpose, l.until, l.id.String()+"."+l.series.String())
}

// readLogin returns the login of a cookie value; false if the value is not valid or its time is over.
func (a *Access) readLogin(value string, now time.Time) (login, bool) {
	claim, until, ok := a.unseal(loginPurpose, value, now)
	first, second, _ := strings.Cut(claim, ".")
	id, err1 := uuid.Parse(first)
	series, err2 := uuid.Parse(second)
	return login{id, series, until}, ok && err1 == nil && err2 == nil
}

// knownToken returns the cookie value of a browser that has been signed in.
func (a *Access) knownToken(until time.Time) string {
	return a.seal(knownPurpose, until, uuid.NewString())
}

// readKnown returns the id of a browser that has been signed in before, "" for any other.
func (a *Access) readKnown(value string, now time.Time) string {
	id, _, _ := a.unseal(knownPurpose, value, now)
	return id
}

// seal returns a claim that is signed for one purpose and valid until then.
func (a *Access) seal(purpose string, until time.Time, claim string) string {
	claim = strconv.FormatInt(until.Unix(), 10) + "." + claim
	return claim + "." + base64.RawURLEncoding.EncodeToString(a.sign(purpose, claim))
}

// unseal returns the claim of a sealed value; false if it is not ours, is for another purpose, or
// its time is over.
func (a *Access) unseal(purpose, value string, now time.Time) (claim string, until time.Time, ok bool) {
	end := max(strings.LastIndexByte(value, '.'), 0)
	claim, signature := value[:end], strings.TrimPrefix(value[end:], ".")
	mac, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil || !hmac.Equal(mac, a.sign(purpose, claim)) {
		return "", time.Time{}, false
	}
	expires, claim, _ := strings.Cut(claim, ".")
	seconds, err := strconv.ParseInt(expires, 10, 64)
	if until = time.Unix(seconds, 0); err != nil || !now.Before(until) {
		return "", time.Time{}, false
	}
	return claim, until, true
}

func (a *Access) sign(purpose, claim string) []byte {
	mac := hmac.New(sha256.New, a.key)
	mac.Write([]byte(purpose + " " + claim))
	return mac.Sum(nil)
}
