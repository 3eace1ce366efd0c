// Command windowbroker is an MQTT 3.1.1 and 5 broker that enforces its in-flight windows, for tests.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"sync"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// window keeps at most size messages on the way to a client by holding the publishers back.
//
// The server's own windows are not used: MaximumInflight drops what does not fit, and the queue behind a
// client's receive maximum forgets what it sent and can lock up (Inflight.NextImmediate locks twice).
type window struct {
	mqtt.HookBase
	size    int
	mutex   sync.Mutex
	changed *sync.Cond
	flying  map[*mqtt.Client]map[uint16]bool // sent to a client and not acknowledged
	granted map[*mqtt.Client]int             // let in from a publisher and not yet passed on
}

func newWindow(size int) *window {
	w := &window{size: size, flying: map[*mqtt.Client]map[uint16]bool{}, granted: map[*mqtt.Client]int{}}
	w.changed = sync.NewCond(&w.mutex)
	return w
}

func (w *window) ID() string { return "window" }

func (w *window) Provides(event byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnect, mqtt.OnDisconnect, mqtt.OnPublish, mqtt.OnPublished,
		mqtt.OnQosPublish, mqtt.OnQosComplete, mqtt.OnQosDropped,
	}, event) >= 0
}

func (w *window) OnConnect(client *mqtt.Client, _ packets.Packet) error {
	client.Properties.Props.ReceiveMaximum = 0
	client.State.Inflight.ResetSendQuota(0)
	return nil
}

func (w *window) change(what func()) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	what()
	w.changed.Broadcast()
}

func (w *window) isFull() bool {
	coming := 0
	for _, count := range w.granted {
		coming += count
	}
	for _, packets := range w.flying {
		if len(packets)+coming >= w.size {
			return true
		}
	}
	return false
}

func (w *window) OnPublish(client *mqtt.Client, packet packets.Packet) (packets.Packet, error) {
	// A client that subscribes as well must go on reading: its acknowledgements make the room.
	if packet.FixedHeader.Qos == 0 || len(client.State.Subscriptions.GetAll()) > 0 {
		return packet, nil
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for w.isFull() {
		w.changed.Wait()
	}
	w.granted[client]++
	return packet, nil
}

func (w *window) OnPublished(client *mqtt.Client, _ packets.Packet) {
	w.change(func() {
		if w.granted[client] > 0 {
			w.granted[client]--
		}
	})
}

func (w *window) OnQosPublish(client *mqtt.Client, packet packets.Packet, _ int64, _ int) {
	if packet.FixedHeader.Type != packets.Publish || client.Closed() {
		return
	}
	w.change(func() {
		if w.flying[client] == nil {
			w.flying[client] = map[uint16]bool{}
		}
		w.flying[client][packet.PacketID] = true
	})
}

func (w *window) OnQosComplete(client *mqtt.Client, packet packets.Packet) {
	w.change(func() { delete(w.flying[client], packet.PacketID) })
}

func (w *window) OnQosDropped(client *mqtt.Client, packet packets.Packet) {
	w.OnQosComplete(client, packet)
}

func (w *window) OnDisconnect(client *mqtt.Client, _ error, _ bool) {
	w.change(func() {
		delete(w.flying, client)
		delete(w.granted, client)
	})
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	port := flag.Int("port", 1883, "loopback port to listen on")
	receiveMaximum := flag.Uint("receive-maximum", 1024, "messages one client may have on the way to the broker")
	inflight := flag.Uint("inflight", 20, "messages on the way to one client")
	flag.Parse()

	capabilities := mqtt.NewDefaultServerCapabilities()
	capabilities.ReceiveMaximum = uint16(*receiveMaximum)
	capabilities.MaximumInflight = math.MaxUint16 // held for one client that is away
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	server := mqtt.New(&mqtt.Options{Capabilities: capabilities, Logger: logger})
	must(server.AddHook(new(auth.AllowHook), nil))
	must(server.AddHook(newWindow(int(*inflight)), nil))
	address := fmt.Sprintf("127.0.0.1:%d", *port)
	must(server.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: address})))
	must(server.Serve())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
	must(server.Close())
}
