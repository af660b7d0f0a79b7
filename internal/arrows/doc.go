// Package arrows holds no program, only tests over the source of all others:
// which room may import which, what may be named in one place only, and how
// long a function or a file may become. A rule that is not kept by a machine
// is forgotten.
package arrows
