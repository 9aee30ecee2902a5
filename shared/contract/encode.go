package contract

import "strconv"

// AppendJSON appends the snapshot's JSON to dst and returns the extended buffer. It does not use encoding/json, because
// the contract fixes the decimals and a tick must not allocate once dst is large enough. Numbers must be finite;
// DecodeSnapshot checks that.
func (s *Snapshot) AppendJSON(dst []byte) []byte {
	return s.appendMembers(append(dst, '{'))
}

// appendMembers appends the members and the closing brace.
func (s *Snapshot) appendMembers(dst []byte) []byte {
	dst = append(dst, `"price":`...)
	dst = appendUSD(dst, s.Price)
	dst = append(dst, `,"confidence":`...)
	dst = appendProbability(dst, s.Confidence)
	dst = append(dst, `,"transactions":[`...)
	for i, p := range s.Transactions {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"timestamp":`...)
		dst = appendSeconds(dst, p.Timestamp)
		dst = append(dst, `,"price":`...)
		dst = appendUSD(dst, p.Price)
		dst = append(dst, '}')
	}
	dst = append(dst, `],"stats":`...)
	dst = s.Stats.appendJSON(dst)
	dst = append(dst, `,"timestamp":`...)
	dst = appendSeconds(dst, s.Timestamp)
	dst = append(dst, `,"low":`...)
	dst = appendUSD(dst, s.Low)
	dst = append(dst, `,"high":`...)
	dst = appendUSD(dst, s.High)
	dst = append(dst, `,"status":"`...)
	dst = append(dst, s.Status...)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendUint(dst, s.Seq, 10)
	dst = append(dst, `,"epoch":"`...)
	dst = append(dst, s.Epoch...)
	return append(dst, `"}`...)
}

func (s Stats) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"total_received":`...)
	dst = strconv.AppendUint(dst, s.TotalReceived, 10)
	dst = append(dst, `,"total_filtered":`...)
	dst = strconv.AppendUint(dst, s.TotalFiltered, 10)
	dst = append(dst, `,"active_in_window":`...)
	dst = strconv.AppendUint(dst, s.ActiveInWindow, 10)
	dst = append(dst, `,"uptime_seconds":`...)
	dst = strconv.AppendUint(dst, s.UptimeSeconds, 10)
	if s.PeersWanted > 0 {
		dst = append(dst, `,"peers":`...)
		dst = strconv.AppendUint(dst, s.Peers, 10)
		dst = append(dst, `,"peers_wanted":`...)
		dst = strconv.AppendUint(dst, s.PeersWanted, 10)
	}
	return append(dst, '}')
}

func appendUSD(dst []byte, v float64) []byte     { return strconv.AppendFloat(dst, v, 'f', 2, 64) }
func appendSeconds(dst []byte, v float64) []byte { return strconv.AppendFloat(dst, v, 'f', 3, 64) }

func appendProbability(dst []byte, v float64) []byte { return strconv.AppendFloat(dst, v, 'f', 3, 64) }
