package retail

import (
	"errors"
	"time"
)

// A sold is one line of a ticket.
type sold struct {
	item
	quantity, rebate, amount int64
}

// sell writes one ticket: its header, its lines, its payments.
func (s *seller) sell(number int64) error {
	// Half a minute to a minute and a half from one customer to the next.
	s.at = s.at.Add(time.Duration(30+s.rnd.IntN(60)) * time.Second)
	lines := s.basket()
	var total int64
	gross := map[int64]int64{} // by rate
	for _, l := range lines {
		total += l.amount
		gross[l.rate] += l.amount
	}
	var tax int64
	for rate, amount := range gross {
		tax += taxIn(amount, rate)
	}
	var card any
	if len(s.cards) > 0 && s.rnd.IntN(3) == 0 {
		card = s.cards[s.rnd.IntN(len(s.cards))]
	}
	err := s.add(s.ticket, number, s.now(), DefaultUser(s.Till), card, s.rnd.IntN(100) == 0, total-tax, tax, total)
	if err != nil {
		return err
	}
	for i, l := range lines {
		if err := s.add(s.line, number, i+1, l.code, l.label, l.quantity, l.price, l.rebate, l.rate, l.amount); err != nil {
			return err
		}
	}
	if err := s.pay(number, total); err != nil {
		return err
	}
	if s.open.First == 0 {
		s.open.First = number
	}
	s.open.Last = number
	s.open.Tickets++
	s.open.Amount += total
	if number%50 == 0 {
		return s.jet("TIROIR", "Ouverture du tiroir sans vente")
	}
	return nil
}

// basket fills the lines of a ticket. One in forty is a return: everything on
// it comes back.
func (s *seller) basket() []sold {
	n := s.Lines
	if n <= 0 {
		n = 1 + s.rnd.IntN(7)
	}
	sign := int64(1)
	if s.rnd.IntN(40) == 0 {
		sign = -1
	}
	lines := make([]sold, n)
	for i := range lines {
		l := sold{item: s.items[s.rnd.IntN(len(s.items))], quantity: sign * 1000}
		if s.rnd.IntN(4) == 0 {
			l.quantity = sign * int64(2+s.rnd.IntN(4)) * 1000
		}
		l.amount = l.price * l.quantity / 1000
		if s.rnd.IntN(10) == 0 {
			l.rebate = l.amount / 10
			l.amount -= l.rebate
		}
		lines[i] = l
	}
	return lines
}

// taxIn returns the tax that an amount holds, rounded half away from zero.
func taxIn(gross, rate int64) int64 {
	if gross < 0 {
		return -taxIn(-gross, rate)
	}
	return (2*gross*rate + 10000 + rate) / (2 * (10000 + rate))
}

// pay writes the payments, which add up to the total: by card, in cash with
// the change given back, or partly in meal vouchers.
func (s *seller) pay(number, total int64) error {
	switch way := s.rnd.IntN(10); {
	case way < 3 && total > 0:
		given := total + 499 - (total+499)%500 // the next five euros
		if given == total {
			return s.add(s.payment, number, 1, "ESP", total)
		}
		return errors.Join(s.add(s.payment, number, 1, "ESP", given), s.add(s.payment, number, 2, "ESP", total-given))
	case way == 3 && total > 1100:
		return errors.Join(s.add(s.payment, number, 1, "TR", 1100), s.add(s.payment, number, 2, "CB", total-1100))
	case total < 0:
		return s.add(s.payment, number, 1, "AV", total)
	}
	return s.add(s.payment, number, 1, "CB", total)
}
