// Package schedule runs processes again and again, each on its own clock.
//
// A [Process] says how often; the [Schedule] is given a function that runs one
// and returns what came of it. Runs of one stream never overlap; those of
// different streams go side by side. Times are counted by the monotonic clock:
// a wall clock that is set right, or wrong, neither stops nor floods anything,
// and what was missed while the machine slept is not made up for.
//
// What came of a run decides when the next one is due: something that was busy
// is tried again soon, a login that was denied much later, because a server
// shuts out an address that keeps on trying, and with it a whole shop.
package schedule
