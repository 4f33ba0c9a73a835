package views

// LoginModel is the sign-in form.
type LoginModel struct {
	Next  string // local page to go to afterwards
	Wrong string // what was wrong with the last try
}
