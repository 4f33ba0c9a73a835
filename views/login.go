package views

// LoginModel is the sign-in form.
type LoginModel struct {
	Next  string // local page to go to afterwards
	Wrong string // the error of the last attempt
}
