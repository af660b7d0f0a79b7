//go:build race

package archive

// memoryMembers is a quarter under the race detector, which makes all slow.
const memoryMembers = 6
