package engine

// ErrorText is the text of an error as it is kept.
var ErrorText = errorText
