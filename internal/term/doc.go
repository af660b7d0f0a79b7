// Package term is how the program speaks to people: results on standard
// output, as a table or as JSON; everything else on standard error, a
// progress bar only on a terminal and only for what takes longer than a
// second; errors with a hint that says what to do next.
//
// Text from outside (file names, labels, other programs' messages) passes
// [Clean] before it reaches a terminal, which would obey the control
// characters in it.
package term
