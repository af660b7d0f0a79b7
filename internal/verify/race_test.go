//go:build race

package verify_test

// raceEnabled: under the race detector, all is slow.
const raceEnabled = true
