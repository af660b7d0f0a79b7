//go:build race

package inspect_test

// raceEnabled: under the race detector, all is slow.
const raceEnabled = true
