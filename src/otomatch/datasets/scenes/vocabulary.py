"""English words for each class of ESC-50 and of the rendered instruments.

Each entry has the label, actions ``subject | verb | participle`` ("a dog | barks | barking") and,
after ``=``, noun phrases, all separated by ``;``. The participle completes both "a dog is ..." and
"the sound of a dog ...". Three rules keep the templates grammatical: no entry says how loud a sound
is (templates do), no verb has a comma, and every noun phrase is singular ("the crash of waves", not
"crashing waves"), so that "... is heard" fits.
"""

RECORDED = """
dog: a dog | barks | barking; dogs | bark | barking; a dog | lets out a bark | letting out a bark
  = a barking dog; the barking of a dog; a dog's bark
rooster: a rooster | crows | crowing; a cockerel | calls out | calling out
  = a crowing rooster; the crowing of a rooster; a rooster's crow; a cock-a-doodle-doo
pig: a pig | grunts | grunting; pigs | oink | oinking; a pig | snorts | snorting
  = a grunting pig; the grunting of a pig; a pig's oink
cow: a cow | moos | mooing; cattle | low | lowing; a cow | bellows | bellowing
  = a mooing cow; the mooing of a cow; a cow's moo
frog: a frog | croaks | croaking; frogs | croak | croaking; a frog | ribbits | ribbiting
  = a croaking frog; the croaking of a frog; a frog's croak
cat: a cat | meows | meowing; a kitten | mews | mewing; a cat | miaows | miaowing
  = a meowing cat; the meowing of a cat; a cat's meow
hen: a hen | clucks | clucking; chickens | cluck | clucking; a hen | cackles | cackling
  = a clucking hen; the clucking of a hen; a hen's cackle
insects: insects | buzz | buzzing; a fly | buzzes around | buzzing around;
  an insect | hums | humming
  = a buzzing insect; the buzzing of insects; the hum of a fly
sheep: a sheep | bleats | bleating; sheep | bleat | bleating; a lamb | baas | baaing
  = a bleating sheep; the bleating of a sheep; a sheep's bleat
crow: a crow | caws | cawing; crows | caw | cawing;
  a crow | croaks from a tree | croaking from a tree
  = a cawing crow; the cawing of a crow; a crow's caw
rain: rain | falls | falling; rain | patters down | pattering down; rain | pours down | pouring down
  = falling rain; the patter of rain; the sound of rain; rain
sea waves: waves | wash ashore | washing ashore; waves | break on a beach | breaking on a beach;
  the sea | rolls in | rolling in; waves | crash on the shore | crashing on the shore
  = the crash of waves; the surf of the sea; the sound of sea waves; breaking surf
crackling fire: a fire | crackles | crackling;
  burning wood | pops and crackles | popping and crackling;
  a campfire | burns | burning
  = a crackling fire; the crackling of a fire; the crackle of burning wood
crickets: crickets | chirp | chirping; a cricket | chirps | chirping; crickets | sing | singing
  = a chirping cricket; the chirping of crickets; the song of crickets at night
chirping birds: birds | chirp | chirping; birds | sing | singing; birds | tweet | tweeting
  = the chirping of birds; birdsong; the singing of birds; the twitter of birds
water drops: water | drips | dripping; water droplets | fall | falling; a tap | drips | dripping
  = dripping water; the dripping of water; a dripping tap
wind: wind | blows | blowing; the wind | howls | howling; a gusty wind | whistles | whistling
  = a howling wind; the howling of the wind; blowing wind; the sound of wind
pouring water: water | pours into a vessel | pouring into a vessel;
  someone | pours water | pouring water;
  water | splashes into a glass | splashing into a glass
  = pouring water; the pouring of water; a stream of poured water
toilet flush: a toilet | flushes | flushing; someone | flushes a toilet | flushing a toilet
  = a flushing toilet; the flush of a toilet; a toilet flush
thunderstorm: thunder | rumbles | rumbling; thunder | rolls | rolling;
  a thunderstorm | rages | raging
  = rumbling thunder; the rumble of thunder; a clap of thunder; a thunderstorm
crying baby: a baby | cries | crying; an infant | wails | wailing; a baby | bawls | bawling
  = a crying baby; the crying of a baby; a baby's cry; a wailing infant
sneezing: someone | sneezes | sneezing; a person | sneezes | sneezing;
  somebody | lets out a sneeze |
  letting out a sneeze
  = a sneeze; a sneezing person; the sneeze of a person; an achoo
clapping: people | clap | clapping; an audience | applauds | applauding; a crowd | claps its hands |
  clapping its hands
  = clapping; the clapping of hands; a clapping audience; a round of applause
breathing: someone | breathes | breathing; a person | breathes in and out | breathing in and out
  = breathing; the breathing of a person; a person's breath
coughing: someone | coughs | coughing; a person | coughs | coughing;
  a man | clears his throat and coughs |
  clearing his throat and coughing
  = a cough; a coughing person; the coughing of a person
footsteps: someone | walks | walking; a person | walks along | walking along;
  footsteps | approach | approaching
  = the sound of footsteps; the tread of footsteps; a walking person
laughing: someone | laughs | laughing; people | laugh | laughing; a person | giggles | giggling
  = laughter; a laughing person; the laughter of a person
brushing teeth: someone | brushes their teeth | brushing their teeth;
  a toothbrush | scrubs teeth | scrubbing teeth
  = the brushing of teeth; the scrubbing of a toothbrush; a toothbrush at work
snoring: someone | snores | snoring; a sleeper | snores away | snoring away;
  a person | snores in bed |
  snoring in bed
  = snoring; a snoring person; the snoring of a sleeper
drinking sipping: someone | sips a drink | sipping a drink; a person | drinks | drinking; someone |
  slurps from a cup | slurping from a cup
  = a sip from a cup; the sipping of a drink; a drinking person
door wood knock: someone | knocks on a door | knocking on a door; a hand | raps on a wooden door |
  rapping on a wooden door
  = a knock on a door; a knock at the door; the knocking on a wooden door
mouse click: a mouse button | clicks | clicking; someone | clicks a mouse | clicking a mouse;
  a computer mouse | clicks | clicking
  = a clicking mouse; the clicking of a computer mouse; a mouse click
keyboard typing: someone | types on a keyboard | typing on a keyboard;
  a keyboard | clatters | clattering;
  a person | types | typing
  = typing on a keyboard; the clatter of a keyboard; the typing of keys
door wood creaks: a door | creaks | creaking; a wooden door | creaks open | creaking open;
  old hinges | squeak | squeaking
  = a creaking door; the creaking of a wooden door; the creak of a door
can opening: someone | opens a can | opening a can; a drink can | cracks open | cracking open;
  a can | fizzes open | fizzing open
  = the opening of a soda; the hiss of an opened drink; a can being opened
washing machine: a washing machine | runs | running; a washing machine | spins | spinning;
  a washer | churns the laundry | churning the laundry
  = a running washing machine; the whir of a washing machine; the spin of a washing machine
vacuum cleaner: a vacuum cleaner | runs | running;
  someone | vacuums the floor | vacuuming the floor;
  a vacuum cleaner | whirs | whirring
  = a running vacuum cleaner; the whir of a vacuum cleaner; the drone of a vacuum cleaner
clock alarm: an alarm clock | rings | ringing; an alarm clock | beeps | beeping;
  an alarm | goes off | going off
  = a ringing alarm clock; the beeping of an alarm clock; an alarm clock
clock tick: a clock | ticks | ticking; a wall clock | ticks away | ticking away;
  a clock | goes tick-tock |
  going tick-tock
  = a ticking clock; the ticking of a clock; the tick of a clock
glass breaking: glass | breaks | breaking; a glass | shatters | shattering;
  a window | smashes | smashing
  = breaking glass; the shattering of glass; the crash of broken glass
helicopter: a helicopter | flies by | flying by; a helicopter | hovers | hovering;
  helicopter blades | whir | whirring
  = a flying helicopter; the whir of a helicopter; the rotor of a helicopter; a helicopter
chainsaw: a chainsaw | runs | running; a chainsaw | cuts wood | cutting wood;
  someone | uses a chainsaw |
  using a chainsaw
  = a running chainsaw; the buzz of a chainsaw; the whine of a chainsaw; a chainsaw
siren: a siren | wails | wailing; an ambulance | sounds its siren | sounding its siren;
  a siren | blares | blaring
  = a wailing siren; the wail of a siren; an emergency siren
car horn: a car | honks | honking; a driver | honks the horn | honking the horn;
  a car horn | beeps | beeping
  = a honking car; the honk of a car horn; a car horn
engine: an engine | runs | running; an engine | idles | idling; a motor | hums | humming
  = a running engine; the idling of an engine; the rumble of an engine
train: a train | passes | passing; a train | rattles along the tracks | rattling along the tracks;
  a train | rolls by | rolling by
  = a passing train; the rattle of a train; the rumble of a train on its tracks
church bells: church bells | ring | ringing; church bells | toll | tolling;
  the bells of a church | chime | chiming
  = the ringing of church bells; the toll of church bells; the chime of church bells
airplane: an airplane | flies overhead | flying overhead;
  a plane | passes overhead | passing overhead;
  an aircraft | flies by | flying by
  = a passing airplane; the roar of an airplane; a plane in the sky
fireworks: fireworks | explode | exploding; fireworks | go off | going off;
  a rocket | bursts in the sky |
  bursting in the sky
  = a fireworks display; the bang of fireworks; the bursting of fireworks
hand saw: someone | saws wood | sawing wood; a hand saw | cuts through wood | cutting through wood;
  a person | works with a saw | working with a saw
  = the sawing of wood; the rasp of a hand saw; a hand saw at work
"""

RENDERED = """
piano: a piano | plays | playing; someone | plays the piano | playing the piano;
  a pianist | strikes some keys | striking some keys
  = a piano; a piano melody; the sound of a piano
church organ: a church organ | plays | playing; an organist | plays | playing;
  a pipe organ | sounds | sounding
  = a church organ; the swell of a church organ; an organ tone
acoustic guitar: an acoustic guitar | plays | playing; someone | picks an acoustic guitar |
  picking an acoustic guitar; guitar strings | ring | ringing
  = an acoustic guitar; the picking of an acoustic guitar; a folk guitar
distorted guitar: a distorted guitar | plays | playing; an electric guitar | growls | growling;
  someone | plays a distorted electric guitar | playing a distorted electric guitar
  = a distorted guitar; the growl of an electric guitar; a heavy metal guitar
slap bass: a slap bass | plays | playing; someone | slaps a bass guitar | slapping a bass guitar;
  a bass guitar | thumps | thumping
  = a slap bass; a funky bass line; the slap of a bass guitar
violin: a violin | plays | playing; a violinist | plays a few notes | playing a few notes;
  someone | bows a violin | bowing a violin
  = a violin; a violin melody; the bowing of a violin
harp: a harp | plays | playing; someone | plucks a harp | plucking a harp;
  a harpist | plays | playing
  = a harp; the plucking of a harp; a plucked harp
choir: a choir | sings | singing; voices | sing together | singing together;
  singers | hold a note | holding a note
  = a singing choir; the singing of a choir; a choir of voices
trumpet: a trumpet | plays a few notes | playing a few notes; a trumpeter | plays | playing;
  someone | blows a trumpet | blowing a trumpet
  = a trumpet; the blast of a trumpet; a trumpet call
saxophone: a saxophone | plays | playing; a saxophonist | plays a few notes | playing a few notes;
  someone | blows a saxophone | blowing a saxophone
  = a saxophone; a saxophone melody; the sound of a saxophone
flute: a flute | plays | playing; someone | plays the flute | playing the flute;
  a flautist | blows a few notes | blowing a few notes
  = a flute; a flute melody; the sound of a flute
xylophone: a xylophone | plays | playing; someone | plays a xylophone | playing a xylophone;
  mallets | strike a xylophone | striking a xylophone
  = a xylophone; a xylophone tune; the knocking of a xylophone
snare drum: a snare drum | rattles | rattling; a drummer | hits the snare | hitting the snare;
  someone | plays a snare drum | playing a snare drum
  = a snare drum; the crack of a snare drum; the rattle of a snare
bass drum: a bass drum | thuds | thudding; someone | beats a bass drum | beating a bass drum;
  a kick drum | thumps | thumping
  = a bass drum; the thud of a bass drum; the thump of a kick drum
hi-hat: a hi-hat | ticks | ticking; a drummer | taps the hi-hat | tapping the hi-hat;
  someone | plays a closed hi-hat | playing a closed hi-hat
  = a hi-hat; the tapping of a hi-hat; a closed hi-hat
cymbal: a cymbal | crashes | crashing; someone | strikes a cymbal | striking a cymbal;
  a drummer | hits the crash cymbal | hitting the crash cymbal
  = a crashing cymbal; the crash of a cymbal; a cymbal crash
cowbell: someone | taps a cowbell | tapping a cowbell; a cowbell | clonks | clonking;
  a player | strikes a cowbell | striking a cowbell
  = a cowbell; the clonk of a cowbell; the tapping of a cowbell
hand claps: someone | claps their hands | clapping their hands; hands | clap | clapping;
  a person | claps in rhythm | clapping in rhythm
  = a hand clap; the clapping of two hands; a rhythmic hand clap
seashore: waves | wash ashore | washing ashore; the surf | hisses on the sand | hissing on the sand;
  the sea | washes over a beach | washing over a beach
  = the wash of the sea; the surf on a seashore; a seashore
bird: a bird | tweets | tweeting; a bird | chirps | chirping; a small bird | twitters | twittering
  = a tweeting bird; the tweeting of a bird; a bird's chirp
telephone: a telephone | rings | ringing; a phone | rings | ringing;
  an old telephone | jingles | jingling
  = a ringing telephone; the ringing of a telephone; a phone ring
applause: people | applaud | applauding; an audience | applauds | applauding;
  a crowd | claps and cheers |
  clapping and cheering
  = applause; the applause of a crowd; an applauding audience
gunshot: a gun | fires | firing; someone | fires a gun | firing a gun;
  a shot | rings out | ringing out
  = a gunshot; the bang of a gun; the firing of a gun
"""

# Labels of the same classes in other collections.
ALIASES = {
    "dog bark": "dog",
    "baby cry": "crying baby",
    "person sneeze": "sneezing",
    "fire crackling": "crackling fire",
}
