package retail

import (
	"errors"
	"fmt"
)

func (f *filler) tills() error {
	return f.insert("caisse (dossier, numero, libelle, magasin)", 4, func(add func(...any) error) error {
		for i, number := range f.Tills {
			if err := add(f.Dossier, number, "Caisse "+number, towns[i%len(towns)][1]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *filler) parameters() error {
	return f.insert("parametre_caisse (dossier, caisse, nom, valeur)", 4, func(add func(...any) error) error {
		for i, number := range f.Tills {
			err := errors.Join(
				add(f.Dossier, number, "afficheur", "2 × 20"),
				add(f.Dossier, number, "imprimante", "ESC/POS"),
				add(f.Dossier, number, "message_pied", "Merci de votre visite à "+towns[i%len(towns)][1]+"\nÀ bientôt !"),
				add(f.Dossier, number, "balance", nil),
			)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// An account is one user and the tills it may work at.
type account struct {
	code, name, profile string
	tills               []string
}

// accounts returns the service account, which may work everywhere, each
// till's own account and its sellers. Every third seller may work at the next
// till too; the last one of all is attached nowhere.
func (f *filler) accounts() []account {
	list := []account{{f.ServiceUser, "Synchronisation", "SYSTEME", f.Tills}}
	for i, number := range f.Tills {
		list = append(list, account{DefaultUser(number), "Caisse " + number, "CAISSE", []string{number}})
		for j := range f.UsersPerTill {
			a := account{fmt.Sprintf("V%s-%02d", number, j+1), f.person(), profiles[j%len(profiles)], []string{number}}
			if next := f.Tills[(i+1)%len(f.Tills)]; j%3 == 2 && next != number {
				a.tills = append(a.tills, next)
			}
			list = append(list, a)
		}
	}
	return append(list, account{"SIEGE-" + f.Dossier, f.person(), "DIRECTION", nil})
}

func (f *filler) users() error {
	f.staff = f.accounts()
	return f.insert("utilisateur (code, dossier, nom, profil, mot_de_passe, actif)", 6, func(add func(...any) error) error {
		for _, a := range f.staff {
			var hash any
			if a.profile != "SYSTEME" {
				b := make([]byte, 32)
				for i := range b {
					b[i] = byte(f.rnd.Uint32())
				}
				hash = b
			}
			if err := add(a.code, f.Dossier, a.name, a.profile, hash, true); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *filler) attachments() error {
	return f.insert("utilisateur_caisse (dossier, utilisateur, caisse)", 3, func(add func(...any) error) error {
		for _, a := range f.staff {
			for _, till := range a.tills {
				if err := add(f.Dossier, a.code, till); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (f *filler) person() string { return f.pick(forename) + " " + f.pick(surnames) }

func (f *filler) pick(words []string) string { return words[f.rnd.IntN(len(words))] }

func (f *filler) customers() error {
	return f.insert("client (dossier, code, nom, prenom, adresse, code_postal, ville, courriel, telephone, carte, points, modifie_le)", 12, func(add func(...any) error) error {
		for i := range f.Customers {
			town := towns[f.rnd.IntN(len(towns))]
			var mail, phone, card any
			if i%3 != 0 {
				mail = fmt.Sprintf("client%05d@example.com", i+1)
			}
			if i%4 != 0 {
				// 01 99 00 xx xx is kept for works of fiction (ARCEP, 2018-0881).
				phone = fmt.Sprintf("01 99 00 %02d %02d", i/100%100, i%100)
			}
			if i%2 == 0 {
				card = ean("29", i)
			}
			err := add(f.Dossier, fmt.Sprintf("C%05d", i+1), f.pick(surnames), f.pick(forename),
				fmt.Sprintf("%d, %s", 1+f.rnd.IntN(120), f.pick(streets)), town[0], town[1], mail, phone, card,
				f.rnd.IntN(500), "2026-01-15T10:00:00Z")
			if err := errors.Join(err, f.ctx.Err()); err != nil {
				return err
			}
		}
		return nil
	})
}
