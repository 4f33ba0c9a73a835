package web

// For tests.
var HidePassword = hidePassword
