// Package retail fills a database of the retail schema with the rows of an
// invented shop, for the demo, the tests and the measurements.
//
// The same options give the same rows, byte for byte, on every machine:
//
//	conn, err := sqlite3.Open("erp.db", sqlite3.Create)
//	…
//	err = retail.CreateSchema(conn)
//	n, err := retail.Fill(ctx, conn, retail.Options{Dossier: "ACME"})
//	_, err = retail.Fill(ctx, conn, retail.Other())    // a dossier that must never leak
//	_, err = retail.ChangePrices(ctx, conn, "ACME", 250, 1)
//	sales, err := retail.Sell(ctx, till, retail.SellOptions{Till: "001", Count: 1000})
//	err = retail.ChangeClient(till, "ACME", "C00001", time.Now(), map[string]any{"ville": "Brest"})
//
// Names, addresses and cards are made up; bar codes are valid EAN-13 codes.
package retail
