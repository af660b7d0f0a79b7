package term_test

import (
	"errors"
	"os"
	"time"

	"caisseauto/internal/term"
)

func Example() {
	t := term.NewTable("till", "rows", "bytes", "took")
	t.Row("001", term.Count(22_596), term.Size(412_345), term.Duration(412*time.Millisecond))
	t.Row("002", term.Count(250), term.Size(2_048), term.Duration(9*time.Millisecond))
	if err := t.Print(os.Stdout); err != nil {
		panic(err)
	}
	term.Report(os.Stdout, "caisseauto", term.WithHint(errors.New("keys/till: permission denied"), "chmod 600 keys/till"))
	// Output:
	// till    rows     bytes    took
	// 001   22,596   403 KiB  412 ms
	// 002      250  2.00 KiB    9 ms
	// caisseauto: keys/till: permission denied
	//   hint: chmod 600 keys/till
}
