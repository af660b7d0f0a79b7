package retail

import (
	"errors"
	"fmt"

	"caisseauto/internal/sqlite/sqlite3"
)

// Every dossier brings the rates; the first one's stay.
func (f *filler) vat() error {
	for _, v := range []struct {
		code, label string
		rate        int
	}{{"R", "Taux réduit 5,5 %", 550}, {"I", "Taux intermédiaire 10 %", 1000}, {"N", "Taux normal 20 %", 2000}} {
		if err := f.conn.Run("INSERT INTO tva (code, libelle, taux) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", v.code, v.label, v.rate); err != nil {
			return err
		}
		f.rows += f.conn.Changes()
	}
	return nil
}

// articleCode is the code of article i of every dossier.
func articleCode(i int) string { return fmt.Sprintf("%06d", 100_001+i) }

func (f *filler) articles() error {
	all := shelves()
	return f.insert("article (dossier, code, libelle, famille, unite, tva, prix, prix_achat, actif, modifie_le)", 10, func(add func(...any) error) error {
		for i := range f.Articles {
			s := all[i%len(all)]
			price := s.low + f.rnd.IntN(s.top-s.low)
			price += 9 - price%10 // 3,49 and not 3,42
			err := add(f.Dossier, articleCode(i), s.label(i/len(all)), s.family, "U", s.vat, price,
				price*(55+f.rnd.IntN(20))/100, f.rnd.IntN(50) != 0, "2026-02-01T06:00:00Z")
			if err := errors.Join(err, f.ctx.Err()); err != nil {
				return err
			}
		}
		return nil
	})
}

// label is the name number i of the shelf: each name, kind and pack once
// before any comes again, and neighbours differ in their name.
func (s shelf) label(i int) string {
	n, k, p := len(s.names), len(s.kinds), len(s.packs)
	text := s.names[i%n] + " " + s.kinds[i/n%k] + " " + s.packs[i/(n*k)%p]
	if again := i / (n * k * p); again > 0 {
		text += fmt.Sprintf(" réf. %d", again+1)
	}
	return text
}

// barcodes gives each article one code and some a second one: of a producer
// in France (prefix 300 to 379), or the shop's own (prefix 20 to 29).
func (f *filler) barcodes() error {
	return f.insert("code_barre (dossier, article, rang, ean)", 4, func(add func(...any) error) error {
		for i := range f.Articles {
			prefix := fmt.Sprint(300 + i%80)
			if i%10 == 9 {
				prefix = fmt.Sprint(20 + i/10%8) // 28 and 29 are cards
			}
			if err := add(f.Dossier, articleCode(i), 1, ean(prefix, i)); err != nil {
				return err
			}
			if i%12 == 0 {
				if err := add(f.Dossier, articleCode(i), 2, ean("379", 500_000_000+i)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// tariffs puts one article in twenty on offer, and one in fifty at a lower
// price for card holders.
func (f *filler) tariffs() error {
	prices := make([]int64, 0, f.Articles)
	err := f.conn.Query("SELECT prix FROM article WHERE dossier = ? ORDER BY code", func(s *sqlite3.Stmt) error {
		prices = append(prices, s.Int(0))
		return nil
	}, f.Dossier)
	if err != nil {
		return err
	}
	return f.insert("tarif (dossier, code, article, debut, fin, prix)", 6, func(add func(...any) error) error {
		for i, price := range prices {
			var err error
			switch {
			case i%20 == 3:
				err = add(f.Dossier, "PROMO", articleCode(i), "2026-02-01", "2026-02-28", price*80/100)
			case i%50 == 7:
				err = add(f.Dossier, "FIDELITE", articleCode(i), "2026-01-01", nil, price*95/100)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *filler) payments() error {
	return f.insert("moyen_paiement (dossier, code, libelle, rendu, ouvre_tiroir, ordre)", 6, func(add func(...any) error) error {
		return errors.Join(
			add(f.Dossier, "ESP", "Espèces", 1, 1, 1),
			add(f.Dossier, "CB", "Carte bancaire", 0, 0, 2),
			add(f.Dossier, "CHQ", "Chèque", 0, 1, 3),
			add(f.Dossier, "TR", "Titre-restaurant", 0, 0, 4),
			add(f.Dossier, "AV", "Avoir", 0, 0, 5),
			add(f.Dossier, "CK", "Chèque-cadeau", 0, 1, 6),
		)
	})
}
