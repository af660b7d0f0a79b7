//go:build !unix

package main

import "testing"

// shopKinds make a shop for each kind of ERP database.
var shopKinds = map[string]func(*testing.T) *shop{"sqlite": newShop}
