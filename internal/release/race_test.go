//go:build race

package release_test

// racing says that the race detector makes processes slow to begin: what is
// killed hundreds of times is left to scripts/test's second pass.
const racing = true
