package rabbit

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// properties of a message can be kept whatever another program has sent.
func TestConsumer_WritesAllPropertiesAsJSON(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]amqp.Delivery{
		"seconds":       {Timestamp: time.Unix(1_796_306_400, 0)},
		"milliseconds":  {Timestamp: time.Unix(1_796_306_400_000, 0)}, // as many clients send them
		"the end":       {Timestamp: time.Unix(math.MaxInt64, 0)},
		"before Christ": {Timestamp: time.Unix(-1e12, 0)},
		"NaN":           {Headers: amqp.Table{"n": math.NaN()}},
		"a late header, and milliseconds": {Timestamp: time.Unix(1_796_306_400_000, 0), Headers: amqp.Table{"t": time.Unix(1e15, 0),
			"n": math.Inf(1)}},
		"bytes": {Headers: amqp.Table{"\xff\x00": []byte{0xff}, "list": []any{int8(1),
			amqp.Table{"a": amqp.Decimal{Scale: 1, Value: 2}}}}},
	} {
		require.True(t, json.Valid(properties(d)), "%s: %s", name, properties(d))
	}
	require.Contains(t, string(properties(amqp.Delivery{Timestamp: time.Unix(1_796_306_400, 0)})), `"timestamp":"2026-12-03T14:00:00Z"`)
	require.Contains(t, string(properties(amqp.Delivery{Timestamp: time.Unix(1_796_306_400_000, 0)})), `"timestamp":1796306400000`)
}

// FuzzIncoming checks that any message of another program becomes a delivery that can be stored.
func FuzzIncoming(f *testing.F) {
	f.Add("app", "id", "dots", `{"text":"x"}`, "warren-dispatch", byte(0), int64(7), "3", int64(1_796_306_400))
	f.Add("\xff", "\x00", "", "\xff", "warren-sent", byte(1), int64(math.MaxInt64), "99999999999999999999", int64(1_796_306_400_000))
	f.Add("", "", "a b", "", "x-delivery-count", byte(2), int64(-1), "NaN", int64(math.MinInt64))
	f.Add("", "", "", "{", "x-first-death-queue", byte(3), int64(1), "w.jobs.a\x00b", int64(0))
	f.Add("", "", "", "[]", "traceparent", byte(3), int64(1), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", int64(0))
	f.Add("", "", "", "1", "list", byte(4), int64(1), "x", int64(-62135596801))
	f.Fuzz(func(t *testing.T, app, id, kind, body, header string, of byte, n int64, s string, at int64) {
		values := []any{n, int32(n), math.Float64frombits(uint64(n)), s, []any{s, amqp.Table{s: n}}, time.Unix(n, 0), []byte(s), nil,
			n%2 == 0,
			amqp.Decimal{Scale: uint8(n), Value: int32(n)}, uint8(n), int16(n), float32(n)} //nolint:gosec // any values
		d := amqp.Delivery{AppId: app, MessageId: id, Type: kind, Body: []byte(body), Timestamp: time.Unix(at, 0), RoutingKey: s,
			Exchange: app,
			Headers:  amqp.Table{header: values[int(of)%len(values)], headerJob: uuid.NameSpaceURL.String()}}
		for _, queue := range []string{"", "default"} {
			in := (&subscription{broker: &Broker{Names: Names{Prefix: "w"}}}).incoming(d, &consumer{queue: "w.jobs." + queue, name: queue})
			require.GreaterOrEqual(t, in.Dispatch, 0)
			require.LessOrEqual(t, in.Dispatch, math.MaxInt32)
			require.GreaterOrEqual(t, in.DeliveryCount, 0)
			require.Less(t, in.SentAt.Year(), 10_000)
			require.True(t, json.Valid(in.Properties()), "%q", in.Properties())
		}
	})
}
