package chat

import (
	"net"
	"net/netip"
	"testing"
)

// What is public may be dialled, through NAT64 too, and so may what the operator allows, however it is reached.
func TestOutsideIsDialled(t *testing.T) {
	allowed := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	for host, want := range map[string]bool{
		"140.82.121.3": true, "64:ff9b::8c52:7903": true, "2606:50c0:8000::153": true, "10.1.2.3": true, "64:ff9b::a01:203": true, "::ffff:10.1.2.3": true,
		"10.2.0.1": false, "64:ff9b::a02:1": false, "64:ff9b:1::8c52:7903": false, "168.63.129.16": false,
	} {
		if err := outside(net.JoinHostPort(host, "443"), allowed); (err == nil) != want {
			t.Errorf("%s: %v", host, err)
		}
	}
}
