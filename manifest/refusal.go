package manifest

import (
	"errors"
	"fmt"
)

// ErrRefused: the data is not what it must be, and nothing of it was used.
// Every refusal of data in this program wraps it. Exit code 65.
var ErrRefused = errors.New("refused")

// A Refusal says which file was refused and by which rule of SPEC.md. It
// wraps [ErrRefused], and the cause where there is one.
type Refusal struct {
	File   string
	Rule   string // number in SPEC.md, for example "M7"
	Detail string
	Err    error // nil, or for example keys.ErrUnknownKey
}

func (r *Refusal) Error() string {
	s := fmt.Sprintf("%s: refused (rule %s): %s", r.File, r.Rule, r.Detail)
	if r.Err != nil {
		s += r.Err.Error()
	}
	return s
}

// Unwrap makes errors.Is(err, ErrRefused) hold, beside the cause.
func (r *Refusal) Unwrap() []error {
	if r.Err == nil {
		return []error{ErrRefused}
	}
	return []error{ErrRefused, r.Err}
}

func refuse(rule, format string, args ...any) *Refusal {
	return &Refusal{Rule: rule, Detail: fmt.Sprintf(format, args...)}
}

// in names the file. It is an error from here on: a nil Refusal in an error
// would not be nil.
func (r *Refusal) in(file string) error {
	r.File = file
	return r
}
