//go:build !race

package release_test

const racing = false
