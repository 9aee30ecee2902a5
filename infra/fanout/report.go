package fanout

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Report is the result of a comparison.
type Report struct {
	Clients   int          `json:"clients"`
	Rate      float64      `json:"snapshots_per_second"`
	Points    int          `json:"new_points"`
	Seconds   float64      `json:"seconds"`
	Core      int          `json:"server_core"`
	Shared    bool         `json:"core_shared"` // server and clients share one core: only ratios are meaningful
	Protocols []Comparison `json:"protocols"`
}

// A Comparison is the result for one protocol.
type Comparison struct {
	Protocol   string `json:"protocol"`
	NotOffered bool   `json:"not_offered,omitempty"`
	Floor      *Run   `json:"floor,omitempty"`
	Edge       *Run   `json:"edge,omitempty"`
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteText writes the report as a table, followed by warnings.
func (r *Report) WriteText(w io.Writer) {
	fmt.Fprintf(w, "\n%d clients, %v snapshots a second with %d new points, %v s each; servers pinned to core %d\n",
		r.Clients, r.Rate, r.Points, r.Seconds, r.Core)
	if r.Shared {
		fmt.Fprintln(w, "servers and clients share the only core: only the ratios are meaningful")
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf(row, "", "", "", "message", "client", "CPU s per", "latency ms", "", "", "spread ms", "", "memory", "deli-"), " "))
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf(row, "protocol", "server", "clients", "B", "B/s", "M messages", "p50", "p99", "max", "p50", "p99", "KiB/client", "vered"), " "))
	for _, c := range r.Protocols {
		c.write(w)
	}
	r.warn(w)
}

const row = "%-14s %-13s %7s %8s %8s %10s %10s %7s %7s %10s %7s %11s %7s"

func (c Comparison) write(w io.Writer) {
	if c.NotOffered {
		fmt.Fprintf(w, "%-14s edge          not offered\n", c.Protocol)
		return
	}
	if c.Floor != nil {
		for _, f := range c.Floor.Intervals {
			writeRow(w, c.Protocol, "floor", f)
		}
	}
	for _, f := range c.Edge.Intervals {
		writeRow(w, c.Protocol, strings.TrimSuffix("edge, "+f.Phase, ", "), f)
		if f.Phase != "" {
			writeRatio(w, "to before", f, c.Edge.Intervals[0])
		} else if floor := c.floorWith(f.Clients); floor != nil {
			writeRatio(w, "to the floor", f, *floor)
		}
	}
	if len(c.Edge.Intervals) > 1 && c.Edge.last().Phase == "" {
		c.writeCapacity(w)
	}
}

// floorWith returns the floor's figures with this number of clients, or nil.
func (c Comparison) floorWith(clients int) *Figures {
	if c.Floor == nil {
		return nil
	}
	i := slices.IndexFunc(c.Floor.Intervals, func(f Figures) bool { return f.Clients == clients })
	if i < 0 {
		return nil
	}
	return &c.Floor.Intervals[i]
}

// writeCapacity compares the numbers of clients with which the servers met the target.
func (c Comparison) writeCapacity(w io.Writer) {
	fmt.Fprintf(w, "%-14s clients with p99 under %d ms: edge %d", c.Protocol, targetLatency, c.Edge.Capacity())
	if c.Floor != nil && c.Floor.Capacity() > 0 {
		fmt.Fprintf(w, ", floor %d, x %.2f", c.Floor.Capacity(), float64(c.Edge.Capacity())/float64(c.Floor.Capacity()))
	}
	fmt.Fprintln(w)
}

func writeRow(w io.Writer, protocol, name string, f Figures) {
	n := func(decimals int, v float64) string { return fmt.Sprintf("%.*f", decimals, v) }
	fmt.Fprintf(w, row+"\n", protocol, name, strconv.Itoa(f.Clients), n(0, f.MessageBytes), n(0, f.ClientBytes), n(1, f.CPUPerMillion),
		n(1, f.P50), n(1, f.P99), n(1, f.Max), n(1, f.SpreadP50), n(1, f.SpreadP99), n(1, f.Memory), n(4, f.Delivered))
}

func writeRatio(w io.Writer, name string, f, to Figures) {
	n := func(a, b float64) string { return fmt.Sprintf("x %.2f", a/b) }
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf(row, "", name, "", n(f.MessageBytes, to.MessageBytes), "",
		n(f.CPUPerMillion, to.CPUPerMillion), n(f.P50, to.P50), n(f.P99, to.P99), n(f.Max, to.Max),
		n(f.SpreadP50, to.SpreadP50), n(f.SpreadP99, to.SpreadP99), "", ""), " "))
}

const (
	// maxGeneratorShare is the share of a core above which the generator's own queue increases the latencies.
	maxGeneratorShare = 0.7
	// maxOthersShare is the share of the server's core above which other processes distort the figures.
	maxOthersShare = 0.1
)

// warn writes a line for each reason to doubt the figures, and for connections that ended.
func (r *Report) warn(w io.Writer) {
	for _, c := range r.Protocols {
		for name, run := range map[string]*Run{"floor": c.Floor, "edge": c.Edge} {
			if run != nil {
				run.warn(w, c.Protocol+", "+name+": ")
			}
		}
	}
}

func (r *Run) warn(w io.Writer, prefix string) {
	for _, f := range r.Intervals {
		if f.Generator > maxGeneratorShare {
			fmt.Fprintf(w, "%sthe generator used %.0f %% of a core, which increases the latencies\n", prefix, 100*f.Generator)
		}
		if f.Others > maxOthersShare {
			fmt.Fprintf(w, "%sother processes and interrupts used %.0f %% of the server's core, which increases the latencies; try ROUNDS=5\n", prefix, 100*f.Others)
		}
		if f.Untimed > 0 {
			fmt.Fprintf(w, "%s%d messages with an unknown snapshot\n", prefix, f.Untimed)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Ends)) {
		fmt.Fprintf(w, "%s%d connections: %s\n", prefix, r.Ends[reason], reason)
	}
	r.writeSoak(w, prefix)
}

// writeSoak writes the server's resource usage before the first client and after the last.
func (r *Run) writeSoak(w io.Writer, prefix string) {
	if len(r.Soak) < 2 {
		return
	}
	first, last := r.Soak[0], r.Soak[len(r.Soak)-1]
	fmt.Fprintf(w, "%s%d clients connected and left; without clients, before and after: %d and %d goroutines, "+
		"%d and %d descriptors, RSS %d and %d KiB\n", prefix, r.Churned, first.Goroutines, last.Goroutines, first.Descriptors, last.Descriptors,
		first.RSS, last.RSS)
}

// String returns the sample as a line of progress.
func (s Sample) String() string {
	return fmt.Sprintf("%6.0f s %7d clients %9d KiB %7d goroutines %6d descriptors", s.Seconds, s.Clients, s.RSS, s.Goroutines, s.Descriptors)
}
